"""The DICOMweb wing: QIDO-RS, WADO-RS, STOW-RS (PS3.18)."""
