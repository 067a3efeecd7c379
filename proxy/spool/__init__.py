"""The spool: exchanges on disk until capture has stored them."""
