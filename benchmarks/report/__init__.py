"""What the samples come to: figures, targets, tables, pages."""
