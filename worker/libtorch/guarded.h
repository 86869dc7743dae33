// The end of every function of the shim: returns nullptr, or the message of the C++ exception.

#pragma once

#include <cstring>
#include <exception>

template <typename Body>
char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown C++ exception");
  }
}
