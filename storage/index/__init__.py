"""What finds the objects: rows of studies, series and instances, in SQLite or PostgreSQL."""
