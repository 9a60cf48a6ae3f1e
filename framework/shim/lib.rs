//! What tch does not bind, in C++. `foil::shim` has its safe forms.
