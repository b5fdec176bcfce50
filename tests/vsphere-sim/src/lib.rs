//! A vSphere endpoint that keeps real disk contents.
