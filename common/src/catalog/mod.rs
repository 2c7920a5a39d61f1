//! The catalog: all SQL.
