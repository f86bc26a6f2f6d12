"""Tables of features and targets: how they are put together, split and stored."""
