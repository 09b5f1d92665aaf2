"""A scripted policy that plays an analyst over SQL: the default model where no key is set."""
