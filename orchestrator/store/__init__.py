"""The store: what a run is, remembered. Nobody outside this package writes SQL; `store.open_store` is the way in."""
