"""HTTP as a site sees it, whichever version carries it: requests, answers, and HTTP/2's of them."""
