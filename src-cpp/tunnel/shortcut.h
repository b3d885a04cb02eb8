#pragma once

#include <memory>
#include <vector>

#include "port/batch_forwarder.h"
#include "port/channel.h"
#include "tunnel/session_table.h"

namespace tuntap {

// Carries a tunnel's packets between a device and a socket as soon as they are read, so that none waits until
// JavaScript has woken up: that takes longer than all the rest. Only what needs no decision goes this way: a
// batch all of whose packets go to peers that there is a Sender for, or all of whose datagrams belong to
// sessions. Any other is left as it was read. JavaScript keeps the books: of what has come and gone as it
// should a little later, by the ShortcutBooks, of all else at once, by the runs.
//
// The arrays and tables must outlive it; they are JavaScript's.
class Shortcut {
 public:
  struct Parts {
    const PrefixTable* prefixes;
    SessionTable* sessions;
    PacketRun* sent_runs;
    PacketRun* received_runs;
    size_t run_capacity;
    DatagramEntry* routes;  // where the packets of each sent run go
    size_t route_capacity;
    uint32_t* state;  // kShortcutWords words
    ShortcutBook* books;
    size_t book_capacity;
    Channel* timer;  // is readable, after Later(), when JavaScript is to look into the books
  };

  // How packets to a peer are sealed, and where they are sent.
  struct Sender {
    std::weak_ptr<Aead> aead;  // gone with its keys
    std::vector<uint8_t> header;
    double* counter;  // the next one
    double counter_limit;
    double until;  // BootTime() from which on it is not used
    const DatagramEntry* route;
    uint32_t session;   // the index of the session that receives what its peer seals by the same keypair
    uint32_t book = 0;  // where the peer's last book is
  };

  explicit Shortcut(const Parts& parts) : parts_(parts) {}

  // Number `peer` is that of its prefixes.
  void SetSender(uint32_t peer, Sender sender);
  void RemoveSender(uint32_t peer);

  // What a device's channel forwards to the socket, and the other way round. `received` describes the
  // socket's datagrams, one entry a packet.
  static BatchForwarder ToSocket(std::shared_ptr<Shortcut> shortcut, Channel* socket);
  static BatchForwarder ToDevice(std::shared_ptr<Shortcut> shortcut, Channel* device,
                                 const DatagramEntry* received, size_t capacity);

 private:
  Forwarded Send(const BatchView& batch, Channel* socket);
  Forwarded Receive(const BatchView& batch, Channel* device, const DatagramEntry* received, size_t capacity);
  bool ChangesSender(const PacketRun& run, const DatagramEntry* received) const;
  bool FindSenders(size_t runs, double now);
  void Note(const BatchView& batch, size_t first_word, size_t runs, const Outcome& before);
  bool MayKeepBooks(const BatchView& batch, size_t runs) const;
  ShortcutBook& BookOf(uint32_t peer);
  void Later();

  Parts parts_;
  std::vector<Sender> senders_;               // by the peer's number; without a header: none
  std::vector<std::shared_ptr<Aead>> aeads_;  // of the runs under way
};

}  // namespace tuntap
