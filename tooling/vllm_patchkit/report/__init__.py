"""A stack on one page: for a review, for a pull request, for paper."""
