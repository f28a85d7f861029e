//! The rules of series, and their scripts as far as they need no document.
