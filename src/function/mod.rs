//! The function client: contracts, the HTTP call, and what its answer means.
