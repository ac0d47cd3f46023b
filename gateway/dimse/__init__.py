"""The DIMSE wing: the only user of pynetdicom."""
