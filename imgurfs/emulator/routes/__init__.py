"""One module per resource of the API; ``table`` joins them."""
