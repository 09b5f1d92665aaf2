"""What every process of the server needs: time, ids, logs, encryption. Knows no settings."""
