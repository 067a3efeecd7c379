"""Backup and restore of an installation: database, blobs and secrets, in a folder or a bucket.

A target holds objects named by their SHA-256, which all backups share, and one folder for each
backup. Its manifest is written last, so a folder without one is no backup:

    objects/<2 hex>/<sha256>
    backups/<name>/database.dump  inventory.jsonl.gz  moves.jsonl.gz  secrets.json  manifest.json

``making`` takes a backup, ``restoring`` reads one back, ``layout`` says what is where. Apps add
the keys that their rows name, and what has to be done after a restore, through ``hooks``.
"""
