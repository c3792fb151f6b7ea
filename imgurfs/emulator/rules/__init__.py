"""What Imgur allows and refuses, and in which words."""
