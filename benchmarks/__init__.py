"""The harness: runs variants under one protocol and makes tables and figures of what they leave."""
