"""The contract in the words of other programs: one module a language, each a function from tables to text."""
