import type { NextConfig } from "next";

const config: NextConfig = {
  poweredByHeader: false,
  // This folder is the whole application, wherever it is copied to.
  turbopack: { root: import.meta.dirname },
  // A browser asks for this one where it has not yet read of the other.
  rewrites: async () => [{ source: "/favicon.ico", destination: "/icon.svg" }],
};

export default config;
