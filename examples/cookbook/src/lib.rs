//! The samples are in `examples/`, the tests in `tests/`.
