"""The keys of encrypted claims: random for each subject, in a file that is never remade."""
