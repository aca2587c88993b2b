//! Where the fleet's state is kept: a small ordered map with revisions.
