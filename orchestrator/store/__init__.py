"""The store: all persistent state of runs. Only this package writes SQL; `store.open_store` opens it."""
