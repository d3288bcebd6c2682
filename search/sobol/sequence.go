package sobol

import "math/bits"

const (
	digits = 32
	axes   = len(directions) + 1 // that the table has; beyond, they are used again in another order
)

// matrix holds the direction numbers v_1 to v_32 of each axis, as fractions of 2^32.
var matrix = generate()

func generate() (m [axes][digits]uint32) {
	for k := range digits {
		m[0][k] = 1 << (digits - 1 - k)
	}
	for i, row := range directions {
		v := &m[i+1]
		degree, coefficients := int(row[0]), row[1]
		for k := range digits {
			if k < degree {
				v[k] = row[2+k] << (digits - 1 - k)
				continue
			}
			v[k] = v[k-degree] ^ v[k-degree]>>degree
			for j := 1; j < degree; j++ {
				v[k] ^= coefficients >> (degree - 1 - j) & 1 * v[k-j]
			}
		}
	}
	return m
}

// plain is the nth point's number on an axis of the table, not scrambled. The
// points come in the order of the binary code, not of Gray's.
func plain(n uint32, axis int) uint32 {
	x := uint32(0)
	for ; n != 0; n &= n - 1 {
		x ^= matrix[axis][bits.TrailingZeros32(n)]
	}
	return x
}

// point is the nth point's number on an axis, in [0, 1), under an Owen
// scrambling that key draws.
func point(n uint32, axis int, key uint64) float64 {
	if axis >= axes { // padding: the points of another such sequence, in an order of their own
		n = scramble(n, hash(uint64(axis/axes), 0x7061646469))
	}
	return (float64(scramble(plain(n, axis%axes), key)) + 0.5) / (1 << digits)
}

// scramble is a nested uniform scrambling (Owen, 1995): each digit is flipped
// or not by a coin that depends on all the higher ones.
func scramble(x uint32, key uint64) uint32 {
	out := uint32(0)
	for k := range digits {
		bit := uint32(1) << (digits - 1 - k)
		prefix := uint64(x) >> (digits - k) // the digits above this one
		out |= x&bit ^ bit&-uint32(hash(key^uint64(k)<<40, prefix)>>63)
	}
	return out
}

// hash mixes two words (the finaliser of SplitMix64: Steele et al., 2014).
func hash(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 ^ b
	for range 2 {
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}
