// LangChain for JavaScript: its tool for DALL-E, with the model that it is born with.
import { DallEAPIWrapper } from "@langchain/openai";

const tool = new DallEAPIWrapper({ apiKey: process.env.API_KEY, baseUrl: process.env.BASE_URL });
console.log(JSON.stringify({ url: await tool.invoke("a red fox") }));
