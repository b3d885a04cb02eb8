{
  "targets": [
    {
      "target_name": "tuntap_native",
      "type": "none",
      "conditions": [["OS=='linux'", { "dependencies": ["tuntap_addon", "namespace_exec"] }]]
    }
  ],
  "conditions": [
    ["OS=='linux'", {
      "targets": [
        {
          "target_name": "tuntap_addon",
          "product_name": "tuntap_native",
          "type": "loadable_module",
          "sources": [
            "src-cpp/batch/batch_view.cc",
            "src-cpp/crypto/aead.cc",
            "src-cpp/crypto/aes_gcm_vaes.cc",
            "src-cpp/crypto/blake2s.cc",
            "src-cpp/crypto/bundled_ciphers.cc",
            "src-cpp/crypto/chacha20_avx512.cc",
            "src-cpp/crypto/evp_cipher.cc",
            "src-cpp/crypto/message_cipher.cc",
            "src-cpp/crypto/openssl_chacha20_poly1305.cc",
            "src-cpp/crypto/symmetric_state.cc",
            "src-cpp/crypto/x25519.cc",
            "src-cpp/intercept/datagrams.cc",
            "src-cpp/intercept/dialer.cc",
            "src-cpp/intercept/flow_table.cc",
            "src-cpp/intercept/ip_packet.cc",
            "src-cpp/intercept/keyed_hash.cc",
            "src-cpp/intercept/nat.cc",
            "src-cpp/intercept/nat_decisions.cc",
            "src-cpp/intercept/nat_errors.cc",
            "src-cpp/intercept/reassembly.cc",
            "src-cpp/intercept/relay.cc",
            "src-cpp/intercept/relay_thread.cc",
            "src-cpp/intercept/replies.cc",
            "src-cpp/intercept/rewrite.cc",
            "src-cpp/intercept/slot_table.cc",
            "src-cpp/linux/device_fds.cc",
            "src-cpp/linux/namespace.cc",
            "src-cpp/linux/namespace_visitor.cc",
            "src-cpp/linux/netlink_socket.cc",
            "src-cpp/linux/tun_ioctl.cc",
            "src-cpp/linux/tun_offload.cc",
            "src-cpp/node/addon.cc",
            "src-cpp/node/aead_calls.cc",
            "src-cpp/node/datagram_calls.cc",
            "src-cpp/node/descriptor.cc",
            "src-cpp/node/device_calls.cc",
            "src-cpp/node/handshake_calls.cc",
            "src-cpp/node/intercept_calls.cc",
            "src-cpp/node/network_calls.cc",
            "src-cpp/node/readiness_engine.cc",
            "src-cpp/node/thread_readiness.cc",
            "src-cpp/node/relay_calls.cc",
            "src-cpp/node/sealing_calls.cc",
            "src-cpp/node/shortcut_calls.cc",
            "src-cpp/node/tunnel_calls.cc",
            "src-cpp/node/udp_calls.cc",
            "src-cpp/node/uv_readiness.cc",
            "src-cpp/offload/checksum.cc",
            "src-cpp/offload/coalescing.cc",
            "src-cpp/offload/coalescing_rules.cc",
            "src-cpp/offload/segmentation.cc",
            "src-cpp/port/channel.cc",
            "src-cpp/port/control_messages.cc",
            "src-cpp/port/plain_io.cc",
            "src-cpp/port/socket_errors.cc",
            "src-cpp/port/udp_receiver.cc",
            "src-cpp/port/udp_sender.cc",
            "src-cpp/port/virtio_reader.cc",
            "src-cpp/port/virtio_writer.cc",
            "src-cpp/tunnel/prefix_table.cc",
            "src-cpp/tunnel/shortcut.cc",
            "src-cpp/tunnel/sealing_pool.cc",
            "src-cpp/tunnel/session_table.cc"
          ],
          "include_dirs": ["src-cpp", "<!(node -p \"require('node-addon-api').include_dir\")"],
          "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
          "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden"],
          "cflags_cc": ["-std=c++17"],
          # Never unloaded with the last worker that had it: threads of its own may still run in it, and what it
          # registered with atexit(3) is called at the end of the process.
          "ldflags": ["-Wl,-z,nodelete", "-Wl,--version-script=<(module_root_dir)/src-cpp/exports.map"]
        },
        {
          "target_name": "namespace_exec",
          "type": "executable",
          "sources": ["src-cpp/programs/namespace_exec.c"],
          "cflags": ["-Wall", "-Wextra"]
        }
      ]
    }]
  ]
}
