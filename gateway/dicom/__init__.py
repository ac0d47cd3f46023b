"""What a DICOM file is: header, frame positions, codecs, metadata model. Knows no door and no store."""
