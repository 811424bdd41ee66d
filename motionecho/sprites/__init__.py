"""The drawn world: coloured shapes with known motion, and the judge that reads them."""
