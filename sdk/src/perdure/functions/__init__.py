"""Functions as users write them: decorators, options, signatures, context, blobs."""
