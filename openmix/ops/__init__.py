"""Primitives: tensors in, tensors out; torch alone."""
