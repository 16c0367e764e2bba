//! `Cache-Control` and its targeted forms.
