"""What several test folders share: tiny stacks, trees and wheels, built on the spot."""
