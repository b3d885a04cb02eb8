#pragma once

#include <memory>

#include "crypto/aead.h"

namespace tuntap {

// An Aead as JavaScript holds it. disposeAead() empties it, so that the keys are gone before the garbage
// collector comes by, or as soon as no thread of a SealingPool seals by them any more.
struct AeadHandle {
  std::shared_ptr<Aead> aead;
};

}  // namespace tuntap
