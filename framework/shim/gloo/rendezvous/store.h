#pragma once
#include <gloo/context.h>

namespace gloo::rendezvous {

// `ProcessGroupGloo::GlooStore` overrides these. Nothing here makes one.
class Store {
  public:
    virtual ~Store();
    virtual void set(const std::string& key, const std::vector<char>& value) = 0;
    virtual std::vector<char> get(const std::string& key) = 0;
    virtual void wait(const std::vector<std::string>& keys) = 0;
    virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};

} // namespace gloo::rendezvous
