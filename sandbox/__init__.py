"""Python that a language model wrote: nothing here trusts it."""
