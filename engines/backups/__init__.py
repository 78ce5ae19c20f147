"""Where restore points come from: folders of backups and their checksum catalogues."""
