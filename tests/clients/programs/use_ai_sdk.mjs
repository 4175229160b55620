// Vercel's AI SDK with its OpenAI provider, and with the one for compatible services.
import { generateImage } from "ai";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const name = process.env.MODEL ?? "flux-1-schnell";
const at = { baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY };
const provider =
  process.env.PROVIDER === "compatible"
    ? createOpenAICompatible({ name: "ecohash", ...at }).imageModel(name)
    : createOpenAI(at).image(name);
const { image } = await generateImage({ model: provider, prompt: "a red fox", size: "512x512" });
console.log(JSON.stringify({ png: Buffer.from(image.uint8Array.subarray(0, 8)).toString("hex") }));
