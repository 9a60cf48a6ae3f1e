// What c10d.cpp and framework/cuda/nccl.cpp both hold.
#pragma once
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

struct FoilStore {
    c10::intrusive_ptr<c10d::Store> store;
};

struct FoilGroup {
    c10::intrusive_ptr<c10d::Backend> backend;
};
