"""The runbook for a schema on a MySQL or MariaDB server."""
