//! AES-GCM (NIST SP 800-38D) with nonces of 96 bits, by the processor's instructions for AES and for carry-less products.
//! What depends on the key alone is computed once.

const std = @import("std");
const wipe = @import("wipe.zig").wipe;
const Ghash = std.crypto.onetimeauth.Ghash;

pub fn AesGcm(comptime Aes: type) type {
    const wide = 8; // blocks that are encrypted side by side
    return struct {
        const Self = @This();

        aes: @TypeOf(Aes.initEnc(undefined)),
        /// The powers of the hash key; nothing hashed yet.
        hash: Ghash,

        pub fn init(self: *Self, key: *const [Aes.key_bits / 8]u8) void {
            self.aes = Aes.initEnc(key.*);
            var hash_key = [_]u8{0} ** 16;
            self.aes.encrypt(&hash_key, &hash_key);
            self.hash = Ghash.init(&hash_key);
            wipe([16]u8, &hash_key);
        }

        inline fn counterBlock(nonce: *const [12]u8, counter: u32) [16]u8 {
            var block: [16]u8 = undefined;
            block[0..12].* = nonce.*;
            std.mem.writeInt(u32, block[12..16], counter, .big);
            return block;
        }

        inline fn applyStream(self: *const Self, nonce: *const [12]u8, text: []u8) void {
            var at: usize = 0;
            var counter: u32 = 2; // 1 is for the tag
            while (text.len - at >= 16 * wide) : (at += 16 * wide) {
                var counters: [16 * wide]u8 = undefined;
                inline for (0..wide) |i| {
                    counters[16 * i ..][0..16].* = counterBlock(nonce, counter +% @as(u32, i));
                }
                counter +%= wide;
                const part = text[at..][0 .. 16 * wide];
                self.aes.xorWide(wide, part, part, counters);
            }
            while (text.len - at >= 16) : (at += 16) {
                const part = text[at..][0..16];
                self.aes.xor(part, part, counterBlock(nonce, counter));
                counter +%= 1;
            }
            if (at == text.len) return;
            const rest = text[at..];
            var last = [_]u8{0} ** 16;
            self.aes.encrypt(&last, &counterBlock(nonce, counter));
            for (rest, last[0..rest.len]) |*byte, add| byte.* ^= add;
            wipe([16]u8, &last);
        }

        inline fn makeTag(self: *const Self, nonce: *const [12]u8, associated: []const u8, text: []const u8) [16]u8 {
            var hash = self.hash;
            hash.update(associated);
            hash.pad();
            hash.update(text);
            hash.pad();
            var lengths: [16]u8 = undefined;
            std.mem.writeInt(u64, lengths[0..8], associated.len * 8, .big);
            std.mem.writeInt(u64, lengths[8..16], text.len * 8, .big);
            hash.update(&lengths);
            var sum: [16]u8 = undefined;
            std.mem.writeInt(u128, &sum, hash.acc, .big);
            var tag: [16]u8 = undefined;
            self.aes.xor(&tag, &sum, counterBlock(nonce, 1));
            wipe(Ghash, &hash);
            return tag;
        }

        pub fn seal(self: *const Self, nonce: *const [12]u8, associated: []const u8, text: []u8, tag: *[16]u8) void {
            self.applyStream(nonce, text);
            tag.* = self.makeTag(nonce, associated, text);
        }

        /// Leaves the text as it is unless the tag is right.
        pub fn open(self: *const Self, nonce: *const [12]u8, associated: []const u8, text: []u8, tag: *const [16]u8) bool {
            var expected = self.makeTag(nonce, associated, text);
            const same = std.crypto.timing_safe.eql([16]u8, expected, tag.*);
            if (same) self.applyStream(nonce, text);
            wipe([16]u8, &expected);
            return same;
        }
    };
}
