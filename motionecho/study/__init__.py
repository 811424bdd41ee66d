"""The paper's user study: methods side by side on a page, and what people answered, with intervals."""
