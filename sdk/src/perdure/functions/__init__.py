"""Functions of users: decorators, options, signatures, context, blobs."""
