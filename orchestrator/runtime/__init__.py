"""What every server process needs: time, ids, logs, encryption, file locks. Independent of the settings."""
