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
            "src-cpp/addon.cc",
            "src-cpp/checksum.cc",
            "src-cpp/coalescing.cc",
            "src-cpp/coalescing_rules.cc",
            "src-cpp/aead_batch.cc",
            "src-cpp/aead_binding.cc",
            "src-cpp/chacha20_poly1305.cc",
            "src-cpp/datagram.cc",
            "src-cpp/descriptor.cc",
            "src-cpp/device_binding.cc",
            "src-cpp/namespace_mount.cc",
            "src-cpp/namespace_scope.cc",
            "src-cpp/netlink_socket.cc",
            "src-cpp/network_binding.cc",
            "src-cpp/offload_port.cc",
            "src-cpp/packet_io.cc",
            "src-cpp/readiness.cc",
            "src-cpp/segmentation.cc",
            "src-cpp/tun_device.cc",
            "src-cpp/udp_batch_receive.cc",
            "src-cpp/udp_batch_send.cc",
            "src-cpp/udp_binding.cc"
          ],
          "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
          "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
          "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden"],
          "cflags_cc": ["-std=c++17"]
        },
        {
          "target_name": "namespace_exec",
          "type": "executable",
          "sources": ["src-cpp/namespace_exec.c"],
          "cflags": ["-Wall", "-Wextra"]
        }
      ]
    }]
  ]
}
