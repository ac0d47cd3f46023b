"""Real parts for the tests: S3 servers, PostgreSQL, a gateway process, a viewer, and data sets built in code."""
