//! HTTP/1.1 as both planes speak it.
