"""Imgur's HTTP API: requests, answers, tokens."""
