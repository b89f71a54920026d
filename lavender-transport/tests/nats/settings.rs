//! What is refused before anything is published: old servers, other settings, names that are wildcards.
