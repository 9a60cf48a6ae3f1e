// No exception crosses into Rust: every function returns null, or a message that the caller gives
// back to `foil_free`.
#pragma once
#include <c10/util/Exception.h>
#include <cstring>

template <class Work> char* guarded(Work&& work) noexcept {
    try {
        work();
        return nullptr;
    } catch (const c10::Error& error) {
        return strdup(error.what_without_backtrace());
    } catch (const std::exception& error) {
        return strdup(error.what());
    } catch (...) {
        return strdup("an exception of unknown type");
    }
}
