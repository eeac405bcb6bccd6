"""HTTP and nothing else. A view is a short paragraph: who asks, which use case, what shape
goes back."""
